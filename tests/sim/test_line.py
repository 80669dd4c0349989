"""The line between box and broker: relays, is cut, goes deaf, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edge.sim.broker import free_port
from edge.sim.line import Line


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    """A line to a far end that says everything back."""
    ends: set[asyncio.StreamWriter] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.add(writer)
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    far = await asyncio.start_server(echo, "127.0.0.1", 0)
    line = Line(free_port(), far.sockets[0].getsockname()[1])
    await line.start()
    yield line
    await line.cut()
    far.close()
    for end in ends:
        end.transport.abort()
    await asyncio.sleep(0)


async def _connect(line: Line) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", line.port)


async def _said(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read(1000)


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await _said(reader) == b""
    except ConnectionError:
        return True


async def test_what_one_end_says_the_other_hears(line: Line) -> None:
    reader, writer = await _connect(line)
    writer.write(b"press")
    assert await _said(reader) == b"press"
    writer.close()


async def test_a_cut_ends_what_was_connected_and_refuses_what_comes_until_it_is_mended(line: Line) -> None:
    reader, writer = await _connect(line)
    writer.write(b"press")
    await _said(reader)
    await line.cut()
    assert await _ended(reader)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await _connect(line)
    await line.restore()
    reader, writer = await _connect(line)
    writer.write(b"again")
    assert await _said(reader) == b"again"
    writer.close()


async def test_a_deaf_line_stays_connected_and_passes_nothing_and_is_reset_when_it_is_mended(
    line: Line,
) -> None:
    reader, writer = await _connect(line)
    writer.write(b"press")
    await _said(reader)
    line.deafen()
    writer.write(b"is anybody there")
    fresh_reader, fresh = await _connect(line)
    fresh.write(b"and here")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await fresh_reader.read(1000)
    await line.restore()
    assert await _ended(reader)
    assert await _ended(fresh_reader)
    writer.close()
    fresh.close()
    reader, writer = await _connect(line)
    writer.write(b"again")
    assert await _said(reader) == b"again"
    writer.close()


async def test_an_end_that_hangs_up_is_told_to_the_other(line: Line) -> None:
    reader, writer = await _connect(line)
    writer.write(b"bye")
    await _said(reader)
    writer.write_eof()
    assert await _ended(reader)
    writer.close()
