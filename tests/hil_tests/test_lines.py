"""Orders and answers by lines of JSON, with a real program at the other end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hil_tests.bench.bench import BenchError
from hil_tests.bench.lines import Lines

HEAD = "import json, sys\ndef say(**answer): print(json.dumps(answer), flush=True)\n"
EACH = f"{HEAD}for line in sys.stdin:\n    order = json.loads(line)\n    "


@asynccontextmanager
async def talking_to(program: str, last_words: str = "") -> AsyncIterator[Lines]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    lines = Lines(process.stdout, process.stdin, "the far end", lambda: last_words)
    try:
        yield lines
    finally:
        await lines.close()
        await process.wait()


async def test_answers_that_come_in_another_order_find_their_questions() -> None:
    program = f"{HEAD}a, b = (json.loads(sys.stdin.readline()) for _ in range(2))\n"
    program += "for order in (b, a): say(id=order['id'], echo=order['word'])"
    async with talking_to(program) as lines:
        first, second = await asyncio.gather(lines.ask({"word": "one"}, 30), lines.ask({"word": "two"}, 30))
    assert (first["echo"], second["echo"]) == ("one", "two")


async def test_an_error_in_an_answer_is_raised_with_its_words() -> None:
    async with talking_to(f"{EACH}say(id=order['id'], error='GPIO 4 is busy')") as lines:
        with pytest.raises(BenchError, match=r"^the far end: GPIO 4 is busy$"):
            await lines.ask({}, 30)


async def test_an_order_that_is_not_answered_is_named_and_the_next_one_is() -> None:
    async with talking_to(f"{EACH}'say' in order and say(id=order['id'])") as lines:
        with pytest.raises(BenchError, match=r"the far end has not answered .*'watch': 24"):
            await lines.ask({"watch": 24}, 0.05)
        await lines.ask({"say": 1}, 30)


async def test_words_that_are_no_answer_are_passed_over() -> None:
    program = f"{EACH}print('Welcome to the jig!'); say(id=999); say(id=order['id'], done=1)"
    async with talking_to(program) as lines:
        assert (await lines.ask({}, 30))["done"] == 1


async def test_when_the_other_end_goes_both_the_waiting_and_the_next_order_hear_its_last_words() -> None:
    async with talking_to("input()", "Segmentation fault") as lines:
        for _ in range(2):
            with pytest.raises(BenchError, match=r"^the far end is gone: Segmentation fault$"):
                await lines.ask({}, 30)
