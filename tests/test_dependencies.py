"""The environment itself: that the lock holds all that is declared, and that the treacherous packages work.

Two traps were met: numpy 2 beside tflite-runtime, which imports well and dies at the first Interpreter; and
lgpio 0.0.0.2, an empty stub that is chosen silently where a wheel is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

# What the product runs on: each Python and machine the lock must serve.
ENVIRONMENTS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    for python in ("3.11", "3.13")
    for machine in ("x86_64", "aarch64")
]


def declared() -> list[Requirement]:
    """Every requirement in pyproject.toml, the extras' with them."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for wanted in lists for text in wanted]


def locked(path: Path) -> list[Requirement]:
    """The pins of a lock file, without their hashes."""
    lines = path.read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[A-Za-z0-9]", line)]


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize(
    "environment", ENVIRONMENTS, ids=lambda e: f"{e['python_version']}-{e['platform_machine']}"
)
def test_lock_covers_every_requirement(environment):
    pins = {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in locked(ROOT / "requirements/all.lock")
        if applies(pin, environment)
    }
    for requirement in declared():
        if applies(requirement, environment):
            assert requirement.name in pins, f"{requirement} is not in the lock: ./run lock"
            assert requirement.specifier.contains(pins[requirement.name]), f"{requirement}: ./run lock"


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: p.name)
def test_every_pin_has_a_hash_and_no_lock_names_an_index(path):
    text = path.read_text()
    assert "://" not in text
    assert "index-url" not in text
    blocks = re.findall(r"^[A-Za-z0-9].*(?:\n .*)*", text, re.MULTILINE)
    assert blocks
    for block in blocks:
        assert "--hash=sha256:" in block, block


def test_sdists_are_built_with_the_setuptools_of_the_lock():
    pins = {str(pin) for pin in locked(ROOT / "requirements/all.lock")}
    assert [str(pin) for pin in locked(ROOT / "requirements/build.lock")] == [
        pin for pin in pins if pin.startswith("setuptools==")
    ]


def test_what_is_installed_fits_together():
    told = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_installed_version_is_what_was_declared(requirement):
    if requirement.marker is None or requirement.marker.evaluate():
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name))
    else:
        # the other Python's release of the same package may be there; one that has no other may not
        others = [r for r in declared() if r.name == requirement.name and r.marker and r.marker.evaluate()]
        if not others:
            with pytest.raises(importlib.metadata.PackageNotFoundError):
                importlib.metadata.version(requirement.name)


@pytest.mark.parametrize("name", sorted({requirement.name for requirement in declared()}))
def test_every_direct_dependency_is_explained(name):
    text = (ROOT / "docs/design/dependencies.md").read_text()
    assert re.search(rf"^\| `{re.escape(name)}` \|", text, re.MULTILINE)


# ---------------------------------------------------------------------------------- they do what they are for


def interpreter_class():
    """The Interpreter of this Python's runtime: ai_edge_litert's from 3.12 on, tflite_runtime's before."""
    runtime = "ai_edge_litert" if sys.version_info >= (3, 12) else "tflite_runtime"
    return importlib.import_module(f"{runtime}.interpreter").Interpreter


def adding_model(addend: float) -> bytes:
    """The smallest useful model: float32[4] in, each element plus `addend` out (TFLite schema version 3)."""
    import flatbuffers
    import numpy as np
    import tflite

    b = flatbuffers.Builder(1024)

    def offsets(start, items):
        start(b, len(items))
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return b.EndVector()

    def ints(start, items):
        start(b, len(items))
        for item in reversed(items):
            b.PrependInt32(item)
        return b.EndVector()

    def tensor(label, length, buffer):
        name = b.CreateString(label)
        shape = ints(tflite.TensorStartShapeVector, [length])
        tflite.TensorStart(b)
        tflite.TensorAddName(b, name)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, tflite.TensorType.FLOAT32)
        tflite.TensorAddBuffer(b, buffer)
        return tflite.TensorEnd(b)

    constant = b.CreateByteVector(np.array([addend], np.float32).tobytes())
    tflite.BufferStart(b)
    empty = tflite.BufferEnd(b)
    tflite.BufferStart(b)
    tflite.BufferAddData(b, constant)
    filled = tflite.BufferEnd(b)
    buffers = offsets(tflite.ModelStartBuffersVector, [empty, filled])

    tensors = offsets(
        tflite.SubGraphStartTensorsVector, [tensor("in", 4, 0), tensor("addend", 1, 1), tensor("out", 4, 0)]
    )

    tflite.AddOptionsStart(b)
    options = tflite.AddOptionsEnd(b)
    inputs = ints(tflite.OperatorStartInputsVector, [0, 1])
    outputs = ints(tflite.OperatorStartOutputsVector, [2])
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, 0)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    tflite.OperatorAddBuiltinOptionsType(b, tflite.BuiltinOptions.AddOptions)
    tflite.OperatorAddBuiltinOptions(b, options)
    operators = offsets(tflite.SubGraphStartOperatorsVector, [tflite.OperatorEnd(b)])

    inputs = ints(tflite.SubGraphStartInputsVector, [0])
    outputs = ints(tflite.SubGraphStartOutputsVector, [2])
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensors)
    tflite.SubGraphAddInputs(b, inputs)
    tflite.SubGraphAddOutputs(b, outputs)
    tflite.SubGraphAddOperators(b, operators)
    subgraphs = offsets(tflite.ModelStartSubgraphsVector, [tflite.SubGraphEnd(b)])

    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, tflite.BuiltinOperator.ADD)
    tflite.OperatorCodeAddBuiltinCode(b, tflite.BuiltinOperator.ADD)
    tflite.OperatorCodeAddVersion(b, 1)
    codes = offsets(tflite.ModelStartOperatorCodesVector, [tflite.OperatorCodeEnd(b)])

    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, codes)
    tflite.ModelAddSubgraphs(b, subgraphs)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def test_the_model_runtime_builds_an_interpreter_and_computes():
    import numpy as np

    interpreter = interpreter_class()(model_content=adding_model(0.5), num_threads=1)
    interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(entry["index"], np.array([0, 1, 2, 3], np.float32))
    interpreter.invoke()
    assert interpreter.get_tensor(exit_["index"]).tolist() == [0.5, 1.5, 2.5, 3.5]


def test_numpy_is_the_one_the_model_runtime_was_built_for():
    major = int(importlib.metadata.version("numpy").split(".")[0])
    assert major == (1 if sys.version_info < (3, 12) else 2)


def test_opencv_encodes_a_picture():
    import cv2
    import numpy as np

    picture = np.zeros((48, 64, 3), np.uint8)
    picture[8:40, 8:56] = (0, 0, 255)
    ok, jpeg = cv2.imencode(".jpg", picture)
    assert ok
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape == (48, 64, 3)


def test_lgpio_is_the_library_and_not_the_empty_stub(tmp_path):
    # in a process of its own: the import leaves a pipe in its working directory, LG_WD says where
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import lgpio; print(callable(lgpio.gpiochip_open), lgpio.get_module_version())",
        ],
        env={**os.environ, "LG_WD": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["True", "lgpio.py_0.2.2.0"]


def test_systemd_notification_is_there():
    from systemd import daemon

    assert daemon.notify("READY=1") is False  # nobody listens here


def test_sounddevice_finds_its_library():
    import sounddevice

    assert "PortAudio" in sounddevice.get_portaudio_version()[1]
