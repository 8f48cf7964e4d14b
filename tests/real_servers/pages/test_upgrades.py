"""The commands of docs/upgrades.md, on a database of a plain owner."""

from tests.real_servers.pages.cluster import Cluster
from tests.real_servers.pages.page import follow


async def test_a_schema_goes_up_and_back_as_the_page_says(cluster: Cluster) -> None:
    await follow(cluster, "backups.md", "Prepare a new server")
    env = {"GATEWAY_DATABASE_URL": cluster.url()}
    await follow(cluster, "upgrades.md", "Upgrade", **env)
    await follow(cluster, "upgrades.md", "Go back by one", **env)
