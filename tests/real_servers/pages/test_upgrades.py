"""The commands of docs/upgrades.md, on a database of a plain owner."""

from gateway.store.migration.migrate import present_revision
from gateway.store.migration.revisions import known_revisions
from tests.real_servers.pages.cluster import Cluster
from tests.real_servers.pages.page import follow


async def test_a_schema_goes_up_and_back_as_the_page_says(cluster: Cluster) -> None:
    await follow(cluster, "backups.md", "Prepare a new server")
    *_, previous, newest = known_revisions()
    env = {"GATEWAY_DATABASE_URL": cluster.url()}
    await follow(cluster, "upgrades.md", "Upgrade", **env)
    assert await present_revision(cluster.url()) == newest
    told = await follow(cluster, "upgrades.md", "Go back by one", **env)
    assert f"The schema is at {previous}." in told
    assert f"revision  {await present_revision(cluster.url())}\n" in told
