"""``python -m tools.client_schemas``: writes the schemas of the Python client from the OpenAPI document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from api.app import create_app
from api.settings import Settings

SCHEMAS = Path(__file__).parent.parent / "agent_factory_client" / "schemas.py"
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')
_HEAD = (
    '"""What the control plane takes and gives. Written by `make schema` from its OpenAPI document: do not edit."""\n'
)


def public_document() -> dict[str, Any]:
    """Return the OpenAPI document without the runtime API, which is for workers, and without what only that needs."""
    settings = Settings(database_url="postgresql://none", api_token="none", runtime_token="none")  # type: ignore[arg-type]  # noqa: S106
    document = create_app(settings).openapi()
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith("/api/v1/")}
    schemas = document["components"]["schemas"]
    needed: set[str] = set()
    found = set(_REFERENCE.findall(json.dumps(document["paths"])))
    while found:
        needed |= found
        found = set(_REFERENCE.findall(json.dumps([schemas[name] for name in found]))) - needed
    document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name in needed}
    return document


def write_schemas(target: Path) -> None:
    """Write the types of the public document's schemas, as TypedDicts: JSON stays what it is.

    :raises subprocess.CalledProcessError: The generator fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "openapi.json", Path(folder) / "schemas.py"
        source.write_text(json.dumps(public_document()))
        options = {
            "--input": str(source),
            "--output": str(result),
            "--input-file-type": "openapi",
            "--output-model-type": "typing.TypedDict",
            "--target-python-version": "3.11",
            "--enum-field-as-literal": "all",
            "--formatters": "builtin",
        }
        flags = [
            "--use-standard-collections",
            "--use-union-operator",
            "--use-schema-description",
            "--disable-timestamp",
        ]
        command = [str(Path(sys.executable).parent / "datamodel-codegen"), *flags]
        subprocess.run([*command, *(part for option in options.items() for part in option)], check=True)
        lines = result.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#")).lstrip()
    target.write_text(_HEAD + "\n" + text)
    ruff = str(Path(sys.executable).parent / "ruff")
    subprocess.run([ruff, "check", "--quiet", "--fix", "--exit-zero", str(target)], check=True)
    subprocess.run([ruff, "format", "--quiet", str(target)], check=True)


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]) if len(sys.argv) > 1 else SCHEMAS)
