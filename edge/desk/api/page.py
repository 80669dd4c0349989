"""The page's own files. Their address holds a digest of them all: browsers keep them for good, and opening
the page again asks for none of them; another version has other addresses.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

PAGES = Path(str(files("edge.desk") / "pages"))
FOR_EVER = "public, max-age=31536000, immutable"


def mount(app: FastAPI) -> None:
    """Adds ``/`` and ``/page/VERSION/FILE``."""
    contents = {path.name: path.read_bytes() for path in sorted(PAGES.glob("*.*"))}
    version = hashlib.sha256(repr(contents).encode()).hexdigest()[:16]
    # Named ahead: modules found through one another's imports would be had one after the other.
    modules = "".join(
        f'<link rel="modulepreload" href="/page/VERSION/{path.name}">\n'
        for path in sorted(PAGES.glob("*.js"))
    )
    index = contents["index.html"].decode().replace("<script", f"{modules}<script", 1)
    index = index.replace("/page/VERSION/", f"/page/{version}/")

    class Files(StaticFiles):
        async def get_response(self, path: str, scope: Scope) -> Response:
            answer = await super().get_response(path, scope)
            # A page that was open before an update gets the file of now, and must not keep it.
            if scope["path_params"]["version"] == version:
                answer.headers["Cache-Control"] = FOR_EVER
            return answer

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def start() -> Response:
        return HTMLResponse(index)

    app.mount("/page/{version}", Files(directory=PAGES), name="page")
