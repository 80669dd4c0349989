"""Every message of the product, and nothing else.

- ``common``  ids, texts with bounds, the clock record, places
- ``wire``    what crosses MQTT between a box and the centre
- ``inner``   what crosses the bus between the processes of one box
- ``topics``  the MQTT topics: fixed depth, one direction a channel
- ``inbound`` the one door: bounded, validated or refused with a reason
- ``channels`` the channels as an integrator sees them, with examples
- ``schema``  JSON Schemas and the AsyncAPI 3 document made from the models
"""
