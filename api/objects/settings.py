"""Settings of the object store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from operators.settings import LEAST_RESULT_BYTES, MOST_RESULT_BYTES

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.-]+)*")


class ObjectSettings(BaseSettings):
    """Where objects are. Sizes are in bytes.

    :param object_bucket: S3 bucket for new objects, with a prefix if need be, like ``factory-data/production``.
    :param object_folder: Folder for new objects where no bucket is named, and of the old ones that lie there.
    :param object_endpoint: Address of a server that speaks S3's protocol; None: Amazon's.
    :param object_region: The bucket's region; None: as the AWS environment says.
    :param artifact_store: Whether plans and DAG files of publishes from now on are ``objects`` or in the ``table``.
    :param result_max_bytes: Of one output as JSON; Airflow's processes need the same setting.
    :param execution_outputs_max_bytes: Of an execution's large outputs together.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_FACTORY_", extra="ignore", populate_by_name=True)

    object_bucket: str | None = None
    object_folder: Path | None = None
    object_endpoint: str | None = None
    object_region: str | None = None
    artifact_store: Literal["table", "objects"] = "table"
    result_max_bytes: Annotated[int, Field(ge=LEAST_RESULT_BYTES, le=MOST_RESULT_BYTES)] = 64_000_000
    execution_outputs_max_bytes: Annotated[int, Field(ge=LEAST_RESULT_BYTES)] = 256_000_000

    @field_validator("object_bucket")
    @classmethod
    def _is_bucket(cls, value: str | None) -> str | None:
        if value is not None and not (_BUCKET.fullmatch(value) and ".." not in value):
            raise ValueError("must be a bucket's name, with a prefix if need be, like 'factory-data/production'")
        return value

    @field_validator("object_folder")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("must be an absolute path")
        return value
