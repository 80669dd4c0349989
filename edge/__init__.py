"""Edge software for a city's emergency call boxes and camera nodes.

The parts, each a process with its own unit on a box:

- ``edge.callbox``  button -> journal, lamp, buzzer, the incident and what the citizen is told
- ``edge.media``    the only one that opens the sound card: prompts, later the call
- ``edge.uplink``   the only one that talks to the centre's broker: outbox, health, commands
- ``edge.desk``     the reference operator desk at the centre

What they share: ``edge.protocol`` (every message), ``edge.store`` (journal, outbox, fsck), ``edge.bus``
(states between the processes of one box), ``edge.config``, ``edge.clock`` and ``edge.errors``.
``edge.sim`` starts the same processes off a box and stands for its hardware.
"""

__version__ = "0.1.0"
