"""The reference operator desk: what a centre needs to receive what the boxes send.

- ``book``     pure: incidents and their presses
- ``roster``   pure: boxes, their health and their silence
- ``core``     pure: book and roster together; takes messages, and `act()` authorises what operators do
- ``store``    SQLite; `keeper` is the one task that writes it, and only then answers
- ``broker``   MQTT: messages in through the one door, answers out
- ``api``      HTTP: every act and view, and one stream of changes; the page in ``pages/`` is its client
"""
