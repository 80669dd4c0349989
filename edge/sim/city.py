"""A simulated city: its call boxes, and what happens at them in a day. Pure: the same seed, the same city.

It is Sagar in Madhya Pradesh, believable and not surveyed: roads, wards and landmarks are the town's, the
coordinates are near them, and where boxes stand is made up. Places beyond those that are named are made from
the wards. Times of a day are simulated seconds since midnight. `edge.sim.city_run` brings it to life.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, NamedTuple

from edge.errors import SetupFailed
from edge.protocol.common import CivicAddress, Place

DAY_S = 86_400
MAX_BOXES = 9999
SMALL = 10
"""A city of fewer boxes has none that never comes, and at most two at a junction, so as to have several."""
NEAR_M = 25.0
"""Boxes of one junction are within this of its middle."""
QUIET = "quiet"
"""The silent contact, out of sight."""
STATE, TOWN = "Madhya Pradesh", "Sagar"
Kind = Literal[
    "crossing", "bus_stand", "station", "college", "girls_school", "hospital", "market", "park", "temple"
]


class Site(NamedTuple):
    """One junction, in the sense of a place whose boxes share a mast, a switch and a name."""

    name: str
    kind: Kind
    road: str
    postcode: str
    lat: float
    """WGS 84 degrees."""
    lon: float


NAMED = (
    Site("Teen Batti", "crossing", "Katra Bazaar Road", "470002", 23.8372, 78.7421),
    Site("Sagar Bus Stand", "bus_stand", "Bhopal Road", "470002", 23.8347, 78.7372),
    Site("Sagar Railway Station", "station", "Station Road", "470001", 23.8512, 78.7483),
    Site("Government Girls' Excellence College", "college", "Tilakganj Road", "470002", 23.8421, 78.7452),
    Site("MLB Girls' Higher Secondary School", "girls_school", "Katra Road", "470002", 23.8379, 78.7447),
    Site("District Hospital", "hospital", "Tili Road", "470001", 23.8331, 78.7301),
    Site("Katra Bazaar", "market", "Katra Bazaar Road", "470002", 23.8365, 78.7435),
    Site("Civil Lines Square", "crossing", "Civil Lines Road", "470001", 23.8428, 78.7329),
    Site("Makronia Square", "crossing", "Jabalpur Road", "470004", 23.8476, 78.7893),
    Site("Bundelkhand Medical College", "hospital", "Tili Road", "470001", 23.8287, 78.7248),
    Site("Rahatgarh Bus Stand", "bus_stand", "Rahatgarh Road", "470002", 23.8407, 78.7263),
    Site("Dr Harisingh Gour University", "college", "University Road", "470003", 23.8277, 78.7719),
    Site("Lakha Banjara Lake, Chakra Ghat", "park", "Lake Road", "470002", 23.8369, 78.7468),
    Site("Bada Bazaar", "market", "Bada Bazaar Road", "470002", 23.8341, 78.7443),
    Site("Makronia Railway Station", "station", "Makronia Station Road", "470004", 23.8443, 78.7934),
    Site("Kali Tiraha", "crossing", "Makronia Road", "470003", 23.8434, 78.7583),
    Site("Pili Kothi", "crossing", "Cantonment Road", "470001", 23.8459, 78.7402),
    Site("Radha Tiraha", "crossing", "Radha Talkies Road", "470002", 23.8353, 78.7401),
    Site("Gopalganj Square", "crossing", "Gopalganj Road", "470003", 23.8409, 78.7512),
    Site("Government Arts and Commerce College", "college", "Civil Lines Road", "470001", 23.8439, 78.7317),
    Site("Baghraj Temple", "temple", "Baghraj Road", "470002", 23.8262, 78.7446),
    Site("Sanjay Drive", "park", "Lake Road", "470002", 23.8391, 78.7496),
    Site("Gujarati Bazaar", "market", "Gujarati Bazaar Road", "470002", 23.8361, 78.7412),
    Site("Bhagwanganj Square", "crossing", "Station Road", "470002", 23.8475, 78.7459),
    Site("Moti Nagar Square", "crossing", "Khurai Road", "470002", 23.8454, 78.7359),
    Site("Makronia Bus Stop", "bus_stand", "Jabalpur Road", "470004", 23.8483, 78.7907),
    Site("Kendriya Vidyalaya", "girls_school", "Cantonment Road", "470001", 23.8501, 78.7391),
    Site("Indira Gandhi Engineering College", "college", "Baheriya Road", "470021", 23.8189, 78.8003),
    Site("Sadar Bazaar", "market", "Cantonment Road", "470001", 23.8527, 78.7362),
    Site("Cantonment Hospital", "hospital", "Cantonment Road", "470001", 23.8533, 78.7375),
    Site("Patharia Hills Gate", "crossing", "University Road", "470003", 23.8293, 78.7667),
    Site("Tili Tiraha", "crossing", "Tili Road", "470001", 23.8309, 78.7273),
    Site("Chandra Park", "park", "Civil Lines Road", "470001", 23.8417, 78.7341),
    Site("Garhpahra Road Square", "crossing", "Garhakota Road", "470004", 23.8511, 78.7991),
    Site("Vijay Talkies Square", "crossing", "Katra Bazaar Road", "470002", 23.8384, 78.7409),
    Site("Parkota Hill", "temple", "Parkota Road", "470002", 23.8358, 78.7386),
)

WARDS = (
    ("Tilakganj", "Tilakganj Road", "470002", 23.8431, 78.7467),
    ("Itwari", "Itwari Road", "470002", 23.8336, 78.7458),
    ("Shanichari", "Shanichari Road", "470002", 23.8319, 78.7477),
    ("Shukrawari", "Shukrawari Road", "470002", 23.8311, 78.7431),
    ("Ravishankar", "Ravishankar Road", "470002", 23.8466, 78.7321),
    ("Subhash Nagar", "Khurai Road", "470002", 23.8531, 78.7289),
    ("Bhagwanganj", "Station Road", "470002", 23.8485, 78.7447),
    ("Gopalganj", "Gopalganj Road", "470003", 23.8401, 78.7529),
    ("Lajpatpura", "Lajpatpura Road", "470002", 23.8347, 78.7491),
    ("Rampura", "Rampura Road", "470002", 23.8381, 78.7353),
    ("Purvyau", "Purvyau Tori Road", "470002", 23.8327, 78.7413),
    ("Keshavganj", "Keshavganj Road", "470002", 23.8402, 78.7432),
    ("Parkota", "Parkota Road", "470002", 23.8352, 78.7391),
    ("Kakaganj", "Kakaganj Road", "470002", 23.8279, 78.7389),
    ("Sant Ravidas", "Rahatgarh Road", "470002", 23.8419, 78.7203),
    ("Baghraj", "Baghraj Road", "470002", 23.8269, 78.7431),
    ("Vrindavan", "Tili Road", "470001", 23.8321, 78.7329),
    ("Moti Nagar", "Khurai Road", "470002", 23.8461, 78.7347),
    ("Yadav Colony", "Makronia Road", "470003", 23.8447, 78.7631),
    ("Rajakhedi", "Jabalpur Road", "470004", 23.8463, 78.8011),
    ("Deendayal Nagar", "Makronia Road", "470004", 23.8497, 78.7851),
    ("Bahubali Colony", "Makronia Road", "470004", 23.8421, 78.7799),
    ("Sidguwan", "Bhopal Road", "470002", 23.8221, 78.7177),
    ("Patharia Jat", "University Road", "470003", 23.8231, 78.7639),
)

_IN_A_WARD: tuple[tuple[str, Kind], ...] = (
    ("{} Square", "crossing"),
    ("Government Girls' School, {}", "girls_school"),
    ("{} Market", "market"),
    ("{} Tiraha", "crossing"),
    ("{} Health Centre", "hospital"),
    ("{} Park", "park"),
    ("{} Temple", "temple"),
)

SPOTS: dict[Kind, tuple[str, ...]] = {
    "crossing": ("north corner", "south corner", "east corner", "west corner", "traffic island"),
    "bus_stand": (
        *("gate 1", "gate 2", "platform 1", "platform 4", "platform 7", "ticket hall"),
        *("waiting hall", "auto stand", "women's waiting room"),
    ),
    "station": (
        *("main entrance", "platform 1 waiting hall", "platform 1 east end", "platform 2", "platform 3"),
        *("foot overbridge", "booking hall", "auto stand", "parcel gate", "women's waiting room"),
    ),
    "college": ("main gate", "library", "girls' hostel", "bus stop", "sports ground", "canteen"),
    "girls_school": ("main gate", "bus bay", "back lane"),
    "hospital": ("casualty entrance", "OPD gate", "maternity ward gate", "chemist's row", "parking"),
    "market": ("main lane", "vegetable lane", "cloth lane", "parking", "police kiosk"),
    "park": ("main gate", "lake walk", "children's corner"),
    "temple": ("steps", "lower gate"),
}
"""What tells the boxes of one junction apart; without a comma."""


_WARD_M = 260.0
"""How far from its ward's middle a made-up place lies."""
METRES = 111_320.0
"""Of one degree of latitude."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One button of a box."""

    service: str
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """One call box as it was put up."""

    device: str
    name: str
    """In English; the junction's name and the spot."""
    place: Place
    junction: str
    """The id of its junction. Not on the wire: there, boxes of one junction share RD and the head of LOC."""
    kind: Kind
    services: Mapping[str, str]
    """Service -> the number it is routed to."""
    contacts: Mapping[str, Contact]
    comes: bool = True
    """False: it was ordered and entered, and nobody ever switched it on."""


@dataclass(frozen=True, slots=True)
class Junction:
    """Boxes that share a place, and the switch that joins them to the network."""

    id: str
    name: str
    kind: Kind
    devices: tuple[str, ...]


What = Literal["call", "silent", "prank", "test", "link", "disk", "heat", "lid", "stuck", "clock"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens, at one box or (link) at all boxes of a junction."""

    at_s: float
    what: What
    devices: tuple[str, ...]
    button: str = ""
    """Of a call, silent, prank, test and stuck."""
    times: int = 1
    """Presses, a few seconds of real time apart: people press again."""
    by: str = ""
    """The technician of a test."""
    for_s: float = 0
    """How long a condition (link and what follows in `What`) lasts."""


_NUMBERS = {"police": "112", "women": "181", "medical": "108"}
_CALLS: dict[Kind, tuple[float, str]] = {
    # Real calls of one box in a day, and how they fall on the hours from midnight on (0 to 9).
    "crossing": (0.05, "311111244432223333577753"),
    "bus_stand": (0.11, "765322222222233334456899"),
    "station": (0.09, "656665433332223333445676"),
    "college": (0.03, "100000012333444443222111"),
    "girls_school": (0.03, "000000379311269310000000"),
    "hospital": (0.05, "444433334444444444444444"),
    "market": (0.06, "100000011234444445678741"),
    "park": (0.04, "100002321111111224687421"),
    "temple": (0.02, "000025532111111224763100"),
}
_PRANKS = (0.035, "100000012211268875432211")
_PRANKED: tuple[Kind, ...] = ("girls_school", "college", "market", "park", "crossing", "bus_stand")
_WORK = "000000000034432444200000"
_ANY = "1" * 24
_TECHNICIANS = ("R. Ahirwar", "S. Verma", "P. Kushwaha", "A. Jain")
_CONDITIONS: dict[What, tuple[float, str, float, float]] = {
    # Share of the boxes, hours, and from how many to how many minutes it lasts.
    "disk": (0.005, _ANY, 300, 700),
    "heat": (0.01, "000000000001379998410000", 60, 180),
    "lid": (0.006, "211111122222222222222222", 5, 40),
    "stuck": (0.004, _ANY, 30, 150),
    "clock": (0.01, _ANY, 20, 120),
}
_BOXES_PER_OUTAGE = 150
_BOXES_PER_ROUND = 120
"""For so many boxes one junction is visited by a technician, who tests each box there."""
_ABSENT = 0.004


class City:
    """`boxes` call boxes in and around Sagar.

    Raises:
        SetupFailed: not 1 to 9999 boxes.
    """

    def __init__(self, seed: int, boxes: int) -> None:
        if not 1 <= boxes <= MAX_BOXES:
            raise SetupFailed(f"a simulated city has 1 to {MAX_BOXES} boxes, not {boxes}")
        self.seed = seed
        self.boxes: tuple[Box, ...] = tuple(_boxes(random.Random(f"boxes {seed}"), boxes))
        self.by_device: Mapping[str, Box] = {box.device: box for box in self.boxes}
        self.junctions: Mapping[str, Junction] = _junctions(self.boxes)

    def day(self, rate: float = 1.0) -> tuple[Happening, ...]:
        """What happens from one midnight to the next, in order; `rate` times as many calls, pranks and tests.

        However small the city, each kind of happening comes once at least, where its boxes allow it.
        """
        rng = random.Random(f"day {self.seed} {rate}")
        there = [box for box in self.boxes if box.comes]
        found = [
            *_calls(rng, there, rate),
            *_pranks(rng, there, rate),
            *_tests(rng, self._live_junctions(), rate),
            *_conditions(rng, there),
            *_outages(rng, self._live_junctions()),
        ]
        return tuple(sorted(found, key=lambda h: (h.at_s, h.what, h.devices)))

    def _live_junctions(self) -> list[tuple[Box, ...]]:
        """The boxes that come, by junction."""
        listed = [tuple(self.by_device[d] for d in j.devices) for j in self.junctions.values()]
        live = [tuple(box for box in boxes if box.comes) for boxes in listed]
        return [boxes for boxes in live if boxes]


def sites() -> Iterator[Site]:
    """Every named place, then places in the wards, without end; no name comes twice."""
    yield from NAMED
    taken = {site.name for site in NAMED}
    for turn in count():
        suffix = f", block {turn + 1}" if turn else ""
        # 24 wards and 7 forms have no common divisor: every pair comes once, and neighbours differ in both.
        for number in range(len(WARDS) * len(_IN_A_WARD)):
            form, kind = _IN_A_WARD[number % len(_IN_A_WARD)]
            ward, road, postcode, lat, lon = WARDS[number % len(WARDS)]
            name = f"{form.format(ward)}{suffix}"
            if name not in taken:
                away_m, angle = _WARD_M * (1 + turn), number % len(_IN_A_WARD)
                where = moved(lat, lon, away_m * math.cos(angle), away_m * math.sin(angle))
                yield Site(name, kind, road, postcode, *where)


def moved(lat: float, lon: float, north_m: float, east_m: float) -> tuple[float, float]:
    """The point so many metres away; WGS 84 degrees to six digits (11 cm)."""
    east_degrees = east_m / (METRES * math.cos(math.radians(lat)))
    return round(lat + north_m / METRES, 6), round(lon + east_degrees, 6)


# -- what stands there --------------------------------------------------------------------------------------


def _boxes(rng: random.Random, wanted: int) -> Iterable[Box]:
    # A small city has few boxes at each of many places: it shows every kind of place too.
    at_most = max(2, wanted // SMALL)
    absent = (
        {rng.randrange(wanted) for _ in range(max(1, round(_ABSENT * wanted)))} if wanted >= SMALL else set()
    )
    number = 0
    for site in sites():
        for spot in SPOTS[site.kind][:at_most]:
            yield _box(rng, number, site, spot, comes=number not in absent)
            number += 1
            if number == wanted:
                return


def _box(rng: random.Random, number: int, site: Site, spot: str, *, comes: bool) -> Box:
    angle, away_m = rng.uniform(0, 2 * math.pi), rng.uniform(5, NEAR_M)
    lat, lon = moved(site.lat, site.lon, away_m * math.cos(angle), away_m * math.sin(angle))
    name = f"{site.name}, {spot}"
    civic = CivicAddress(A1=STATE, A3=TOWN, RD=site.road, LOC=name, PC=site.postcode)
    contacts = _contacts(site.kind)
    services = {c.service: _NUMBERS[c.service] for c in contacts.values()}
    if site.kind in ("college", "girls_school"):
        services["women"] = "1091"
    junction = "".join(c if c.isalnum() else "-" for c in site.name.lower().replace("'", ""))
    return Box(
        device=f"sgr-{number + 1:04d}",
        name=name,
        place=Place(lat=lat, lon=lon, civic=civic),
        junction=junction.replace("--", "-"),
        kind=site.kind,
        services=services,
        contacts=contacts,
        comes=comes,
    )


def _contacts(kind: Kind) -> dict[str, Contact]:
    contacts = {"police": Contact("police"), "women": Contact("women")}
    if kind not in ("college", "girls_school"):
        contacts["medical"] = Contact("medical")
    if kind in ("bus_stand", "station", "college", "girls_school", "hospital"):
        contacts[QUIET] = Contact("women", silent=True)
    return contacts


def _junctions(boxes: Iterable[Box]) -> dict[str, Junction]:
    found: dict[str, list[Box]] = {}
    for box in boxes:
        found.setdefault(box.junction, []).append(box)
    return {
        key: Junction(key, mine[0].name.rsplit(", ", 1)[0], mine[0].kind, tuple(b.device for b in mine))
        for key, mine in found.items()
    }


# -- what happens there -------------------------------------------------------------------------------------


def _calls(rng: random.Random, boxes: list[Box], rate: float) -> Iterable[Happening]:
    wanted = [box for box in boxes for _ in range(_poisson(rng, rate * _CALLS[box.kind][0]))]
    silent = [box for box in boxes if QUIET in box.contacts]
    for box in wanted or [rng.choice(boxes)]:
        yield _call(rng, box, QUIET in box.contacts and rng.random() < 0.15)
    if silent:
        yield _call(rng, rng.choice(silent), True)
    # Whoever is not answered presses again.
    yield Happening(_when(rng, _ANY), "call", (rng.choice(boxes).device,), "police", times=rng.randint(2, 4))


def _call(rng: random.Random, box: Box, silent: bool) -> Happening:
    at_s = _when(rng, _CALLS[box.kind][1])
    if silent:
        return Happening(at_s, "silent", (box.device,), QUIET)
    seen = [name for name, contact in box.contacts.items() if not contact.silent]
    times = rng.choices((1, 2, 3, 5), (70, 18, 8, 4))[0]
    return Happening(at_s, "call", (box.device,), rng.choice(seen), times=times)


def _pranks(rng: random.Random, boxes: list[Box], rate: float) -> Iterable[Happening]:
    share, hours = _PRANKS
    where = [box for box in boxes if box.kind in _PRANKED] or boxes
    for _ in range(max(1, _poisson(rng, rate * share * len(where)))):
        device = rng.choice(where).device
        yield Happening(_when(rng, hours), "prank", (device,), "police", times=rng.randint(1, 6))


def _tests(rng: random.Random, junctions: list[tuple[Box, ...]], rate: float) -> Iterable[Happening]:
    total = sum(len(boxes) for boxes in junctions)
    rounds = max(1, round(rate * total / _BOXES_PER_ROUND))
    for number, boxes in enumerate(islice(_shuffled(rng, junctions), rounds)):
        at_s, by = _when(rng, _WORK), _TECHNICIANS[number % len(_TECHNICIANS)]
        for box in boxes:
            yield Happening(at_s, "test", (box.device,), "police", by=by)
            at_s += rng.uniform(240, 480)


def _conditions(rng: random.Random, boxes: list[Box]) -> Iterable[Happening]:
    for what, (share, hours, least_min, most_min) in _CONDITIONS.items():
        for box in rng.sample(boxes, min(len(boxes), max(1, round(share * len(boxes))))):
            button = "police" if what == "stuck" else ""
            for_s = rng.uniform(60 * least_min, 60 * most_min)
            yield Happening(_when(rng, hours), what, (box.device,), button, for_s=for_s)


def _outages(rng: random.Random, junctions: list[tuple[Box, ...]]) -> Iterable[Happening]:
    total = sum(len(boxes) for boxes in junctions)
    for boxes in islice(_shuffled(rng, junctions), max(1, total // _BOXES_PER_OUTAGE)):
        devices = tuple(box.device for box in boxes)
        yield Happening(_when(rng, _ANY), "link", devices, for_s=rng.uniform(4 * 60, 15 * 60))


def _shuffled(rng: random.Random, junctions: list[tuple[Box, ...]]) -> list[tuple[Box, ...]]:
    return rng.sample(junctions, len(junctions))


def _when(rng: random.Random, hours: str) -> float:
    """A moment of the day; `hours` has one digit for each hour, its weight."""
    hour = rng.choices(range(24), [int(weight) for weight in hours])[0]
    return round(hour * 3600 + rng.uniform(0, 3600), 3)


def _poisson(rng: random.Random, mean: float) -> int:
    """How often something rare happens (Knuth, The Art of Computer Programming 2, 3.4.1)."""
    left, number = math.exp(-mean), 0
    product = rng.random()
    while product > left:
        product *= rng.random()
        number += 1
    return number
