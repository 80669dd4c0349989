"""The reference operator desk: what a centre needs to receive what the boxes send.

- ``book``     pure: incidents and their presses, and who must hear of them
- ``roster``   pure: boxes, their health and their silence
- ``alarms``   pure: what must be looked at besides calls, gathered by cause
- ``people``   pure: persons, roles, invitations, tokens
- ``core``     pure: all of these together; takes messages, and `act()` authorises what people do
- ``store``    SQLite; `keeper` is the one task that writes it, and only then answers
- ``broker``   MQTT: messages in through the one door, answers out
- ``history``  what the store remembers over months; ``audit``: the chain that shows it was not changed
- ``sessions``, ``passwords``  who comes in
- ``api``      HTTP: every act and view, and one stream of changes; the page in ``pages/`` is its client
"""
