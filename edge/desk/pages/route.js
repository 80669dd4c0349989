// Where the page is: each view has an address behind '#', so that back, forward and reload do what they should.

export const VIEWS = ["incident", "incidents", "boxes", "map", "box", "history", "people", "audit"];

// "#/boxes?view=silent" -> {name, id, query}
export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  const found = VIEWS.includes(name) ? name : "incidents";
  let named = "";
  try {
    named = decodeURIComponent(id ?? "");
  } catch {
    // Half an escape is nobody's id.
  }
  return { name: found, id: named, query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

export function address(name, id = "", query = {}) {
  const told = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
  const more = new URLSearchParams(told).toString();
  return `#/${name}${id ? `/${encodeURIComponent(id)}` : ""}${more ? `?${more}` : ""}`;
}

export const go = (...where) => { location.hash = address(...where); };

// Another view of the same page: no step of its own for "back".
export const swap = (...where) => {
  history.replaceState(null, "", address(...where));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
};

export const changed = (query, more) => ({ ...query, ...more });
