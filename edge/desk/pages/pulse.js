// A worker: its timers keep time in a page that lies in the background, where the page's own do not.
setInterval(() => postMessage(0), 1000);
