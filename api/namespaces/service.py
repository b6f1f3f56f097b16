"""Which pods an organisation keeps warm: never more than half of its quota, so that work always finds room."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.trail import note
from api.models import Organization
from api.namespaces.schemas import WarmPool, WarmPoolsChange, WarmPoolsView
from api.organizations.repository import OrganizationRepository
from api.problems import Problem
from api.settings import Settings
from compiler.images import canonical_image, image_refusal
from compiler.planning import limits_of
from operators.execution.records import WarmPods


class WarmPodService:
    """Warm pods of one organisation.

    :param organization: Its slug, by which it has quota and policy.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID, organization: str, settings: Settings) -> None:
        self._organizations = OrganizationRepository(session)
        self._organization_id = organization_id
        self._organization = organization
        self._settings = settings

    async def show(self) -> WarmPoolsView:
        """Return the warm pods that were asked for."""
        return self._view(await self._row())

    async def change(self, order: WarmPoolsChange) -> WarmPoolsView:
        """Change them; the next round of upkeep starts and removes pods.

        :raises Problem: 409 where code runs in processes; 422 for too many, for an image that the organisation may not
            run, or where two are of one kind.
        """
        if self._settings.isolation != "kubernetes":
            detail = "Warm pods need Kubernetes; this installation runs code in processes."
            raise Problem(409, "not_possible_here", detail)
        self._check(order.pools)
        row = await self._row()
        before = self._view(row)
        row.warm_pods = [pool.model_dump(mode="json") for pool in order.pools] or None
        after = self._view(row)
        note(before=before, after=after)
        return after

    def _check(self, pools: list[WarmPool]) -> None:
        most, asked = self._most(), sum(pool.size for pool in pools)
        if asked > most:
            detail = f"At most {most} pods may be kept warm, half of the organisation's quota; got {asked}."
            raise Problem(422, "beyond_platform", detail)
        policy = self._settings.images_of(self._organization)
        for pool in pools:
            refusal = image_refusal(pool.image, policy.allow, digests=policy.digests)
            if refusal is not None:
                raise Problem(422, "image_not_allowed", f"The image {pool.image!r} {refusal}.")
        kinds = [(canonical_image(pool.image), pool.network, limits_of(pool.resource_limits)) for pool in pools]
        if len(set(kinds)) < len(pools):
            detail = "Each entry must have an image, network and limits of its own; two have the same. Add their sizes."
            raise Problem(422, "same_kind_twice", detail)

    async def _row(self) -> Organization:
        row = await self._organizations.get(self._organization_id)
        assert row is not None, "the caller acts for it"
        return row

    def _view(self, row: Organization) -> WarmPoolsView:
        return WarmPoolsView(pools=_pools(row), most=self._most())

    def _most(self) -> int:
        return self._settings.quota_of(self._organization).pods // 2


async def warm_pods_of(session: AsyncSession, organization_id: UUID) -> list[WarmPods]:
    """Return an organisation's warm pods as workers take them."""
    row = await OrganizationRepository(session).get(organization_id)
    return [_kind(pool) for pool in _pools(row)] if row is not None else []


def _pools(row: Organization) -> list[WarmPool]:
    return [WarmPool.model_validate(each) for each in row.warm_pods or ()]


def _kind(pool: WarmPool) -> WarmPods:
    """Return an entry with numbers, and with all that was left out."""
    limits = limits_of(pool.resource_limits)
    return WarmPods(image=pool.image, network=pool.network, limits=limits, size=pool.size)
