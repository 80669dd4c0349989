"""What the box says: one short sentence or two for each state, in each language.

Each is true exactly as long as its state holds, and promises nothing. `edge.media.render` makes the files of
``voice/`` from this table; recordings of a human voice replace them by file name ([audio] prompts).
"""

from __future__ import annotations

from edge.protocol.common import Language

PHRASES: dict[str, dict[Language, str]] = {
    "pressed": {
        "hi": "बटन दब गया है। मदद बुलाई जा रही है।",
        "en": "Button pressed. Calling for help.",
    },
    "trying": {
        "hi": "अभी संपर्क नहीं हो पाया है। कोशिश जारी है।",
        "en": "No contact yet. Still trying.",
    },
    "sent": {
        "hi": "आपका संदेश भेज दिया गया है।",
        "en": "Your call for help has been sent.",
    },
    "received": {
        "hi": "आपका संदेश नियंत्रण कक्ष पहुँच गया है।",
        "en": "Your call has reached the control room.",
    },
    "seen": {
        "hi": "नियंत्रण कक्ष ने आपका संदेश देख लिया है।",
        "en": "An operator has seen your call.",
    },
    # Nobody is told to stay where staying may be dangerous.
    "coming": {
        "hi": "मदद आ रही है। सुरक्षित हो तो पास ही रहें।",
        "en": "Help is coming. Stay near if it is safe.",
    },
    "connected": {
        "hi": "आप जुड़ गए हैं। अब बोलिए।",
        "en": "You are connected. Please speak.",
    },
    "closed": {
        "hi": "यह कॉल समाप्त हुई। ज़रूरत हो तो फिर दबाएँ।",
        "en": "This call is closed. Press again for help.",
    },
    # Said digit by digit, as people know it.
    "nobody": {
        "hi": "अब तक जवाब नहीं मिला। हो सके तो एक एक दो मिलाएँ।",
        "en": "No answer yet. If you can, phone one one two.",
    },
    "test": {
        "hi": "यह केवल परीक्षण है।",
        "en": "This is only a test.",
    },
}
"""Citizen state (and ``test``) -> language -> text."""
