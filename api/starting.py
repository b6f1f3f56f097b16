"""Compares settings and database before a process starts, while what is wrong can still be one sentence."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from api.database import Database
from api.organizations.isolation import refuse_strangers
from api.organizations.protection import refuse_unbound_role
from api.settings import Settings, SettingsError
from operators.settings import SettingsError as OperatorSettingsError
from operators.settings import egress_policy


async def check_database(settings: Settings) -> None:
    """Check that the settings fit the database.

    :raises SettingsError: They do not, or what may be called cannot be read. A database that is away is not looked at.
    """
    try:
        egress_policy()
    except OperatorSettingsError as error:
        raise SettingsError(str(error)) from None
    database = Database(settings)
    try:
        await check(database, settings)
    except (SQLAlchemyError, OSError):
        return
    finally:
        await database.close()


async def check(database: Database, settings: Settings) -> None:
    """Check that the settings fit an open database.

    :raises SettingsError: They do not.
    """
    async with database.without_organization() as session:
        await refuse_unbound_role(session)
    async with database.system() as session:
        await refuse_strangers(session, settings)
