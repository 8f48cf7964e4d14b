"""What a primary says of itself; what a standby says is in tests/real_servers."""

from gateway.store import replication
from gateway.store.database import Database


async def test_a_primary_says_where_it_is(db: Database) -> None:
    async with db.single() as tx:
        before = await replication.server_state(tx)
        assert not before.is_standby
        assert before.cluster
        assert before.database == (await tx.one("SELECT id FROM beacon"))[0]
        assert before.epoch == 0
        await tx.run("UPDATE beacon SET count = count + 1")
        assert await replication.wal_position(tx) > before.position > 0
