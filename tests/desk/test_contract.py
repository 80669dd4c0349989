"""The API against its own OpenAPI document: schemathesis makes requests of every call, hostile ones too.

The desk is the real process with the real broker. No answer may be a server error, and each is documented.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edge.sim.stack import Stack
from tests.desk.test_main import BoxEnd
from tests.desk.wire import alert, birth, health

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Centre:
    """Broker and desk in a thread of their own, with two boxes' incidents in it."""

    def __init__(self, folder: Path) -> None:
        self.stack = Stack(folder, roles=())
        self._up, self._over = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Centre:
        self._thread.start()
        while not self._up.wait(0.1):
            assert self._thread.is_alive(), "it did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.token}"}

    async def _run(self) -> None:
        async with self.stack:
            box = BoxEnd(self.stack.pki, self.stack.broker.port)
            await box.up.wait()
            async with httpx.AsyncClient(base_url=self.stack.desk_url, headers=self.headers) as client:
                while not (await client.get("/api/health")).json()["broker"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            box.say(birth(1, session=1), "birth")
            box.say(health(), "health")
            box.say(alert(1), "alert")
            await box.told(lambda channel, _message: channel == "receipt")
            self._up.set()
            await self._over.wait()
            await box.close()


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with Centre(tmp_path_factory.mktemp("contract")) as centre:
        yield centre


def calls(centre: Centre) -> Iterator[schemathesis.schemas.APIOperation]:
    url = f"{centre.stack.desk_url}/api/openapi.json"
    schema = schemathesis.openapi.from_url(url, headers=centre.headers)
    for found in schema.exclude(path="/api/events").get_all_operations():  # that one has no end
        yield found.ok()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_is_documented(centre: Centre, mode: GenerationMode) -> None:
    for call in calls(centre):

        @given(call.as_strategy(generation_mode=mode))
        @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def each(case: Case) -> None:
            case.call_and_validate(headers=centre.headers, checks=CHECKS)

        try:
            each()
        except Unsatisfiable:
            continue  # a call without parameters cannot be made wrong


def test_the_desk_still_works_after_all_that(centre: Centre) -> None:
    told = httpx.get(f"{centre.stack.desk_url}/api/health", headers=centre.headers).json()
    assert told["ok"] is True
