"""What a table is made of besides its rows, read from the catalogue as statements that make it again.

A migration may have changed a table after the gateway was installed, so the catalogue is the truth here and
not the code: indexes, triggers, policies, privileges and storage parameters of the present table go to the
partitioned table and to each partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The tables, each with the column that its rows are distributed by, and its unique indexes that lack this
# column: those can exist only within a partition.
KEY_OF = {"job": "id", "job_label": "job_id", "job_event": "job_id"}

_INDEXES = """
SELECT i.relname::text AS name, pg_get_indexdef(x.indexrelid) AS made_by, x.indisprimary AS is_primary,
  x.indisunique AS is_unique, a.attnum = ANY(x.indkey::int2[]) AS has_key
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attname = $2
WHERE x.indrelid = $1::regclass AND x.indisvalid ORDER BY x.indisprimary DESC, i.relname"""
_TRIGGERS = """
SELECT tgname::text AS name, pg_get_triggerdef(oid) AS made_by FROM pg_trigger
WHERE tgrelid = $1::regclass AND NOT tgisinternal ORDER BY tgname"""
_POLICIES = """
SELECT format('CREATE POLICY %I ON %%s AS %s FOR %s TO %s%s%s', p.polname,
  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
    WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
  CASE WHEN p.polroles = '{0}' THEN 'PUBLIC' ELSE (SELECT string_agg(quote_ident(r.rolname), ', ')
    FROM pg_roles r WHERE r.oid = ANY(p.polroles)) END,
  ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
  ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS made_by
FROM pg_policy p WHERE p.polrelid = $1::regclass ORDER BY p.polname"""
_GRANTS = """
SELECT format('GRANT %s ON %%s TO %s', string_agg(a.privilege_type, ', '),
  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(a.grantee::regrole::text) END) AS made_by
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = $1::regclass AND a.grantee <> c.relowner GROUP BY a.grantee"""
_OPTIONS = """
SELECT array_to_string(reloptions, ', ') AS options, quote_ident(relowner::regrole::text) AS owner,
  relreplident::text AS identity, quote_ident(relnamespace::regnamespace::text) AS schema
FROM pg_class WHERE oid = $1::regclass"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `is_local` means that it can exist only within a partition."""

    name: str
    unique: str
    columns: str
    is_primary: bool
    is_local: bool

    def named(self, suffix: str) -> str:
        """Its name in a partition."""
        return f"{self.name}_{suffix}"

    def on(self, table: str, name: str) -> str:
        """The statement that makes it on a table."""
        if self.is_primary:
            key = self.columns.removeprefix("USING btree ")
            return f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY {key}"
        return f"CREATE {self.unique}INDEX {name} ON {table} {self.columns}"


@dataclass(frozen=True, slots=True)
class Definition:
    """A table without its rows. `policies` and `grants` have `%s` in the place of the table."""

    name: str
    schema: str
    key: str
    owner: str
    options: str
    identity: str
    indexes: Sequence[Index]
    triggers: Sequence[tuple[str, str]]
    policies: Sequence[str]
    grants: Sequence[str]

    def partition(self, suffix: str) -> str:
        """The name of one of its partitions."""
        return f"{self.name}_{suffix}"


async def definition_of(session: Any, table: str, *, partition: str = "") -> Definition:  # noqa: ANN401
    """Read what a table is made of.

    Of a partitioned table a partition tells the storage parameters and the indexes that exist only there.
    """
    key = KEY_OF[table]
    own = await session.fetchrow(_OPTIONS, table)
    stored = await session.fetchrow(_OPTIONS, partition) if partition else own
    indexes = [_index(row) for row in await session.fetch(_INDEXES, table, key)]
    if partition:
        suffix = partition.removeprefix(table)
        found = [_index(row) for row in await session.fetch(_INDEXES, partition, key)]
        indexes += [_without(one, suffix) for one in found if one.is_local]
    return Definition(
        name=table,
        schema=own["schema"],
        key=key,
        owner=own["owner"],
        options=stored["options"] or "",
        identity=own["identity"],
        indexes=indexes,
        triggers=[(row["name"], row["made_by"]) for row in await session.fetch(_TRIGGERS, table)],
        policies=[row["made_by"] for row in await session.fetch(_POLICIES, table)],
        grants=[row["made_by"] for row in await session.fetch(_GRANTS, table)],
    )


def protection(of: Definition, table: str) -> list[str]:
    """The statements that give a table the owner and the row-level security of another one."""
    return [
        f"ALTER TABLE {table} OWNER TO {of.owner}",
        *(policy % table for policy in of.policies),
        *(
            f"ALTER TABLE {table} {what} ROW LEVEL SECURITY"
            for what in (("ENABLE", "FORCE") if of.policies else ())
        ),
    ]


def _index(row: Any) -> Index:  # noqa: ANN401
    return Index(
        name=row["name"],
        unique="UNIQUE " if row["is_unique"] else "",
        columns=f"USING {row['made_by'].partition(' USING ')[2]}",
        is_primary=row["is_primary"],
        is_local=row["is_unique"] and not row["has_key"],
    )


def _without(index: Index, suffix: str) -> Index:
    return Index(
        index.name.removesuffix(suffix),
        index.unique,
        index.columns,
        index.is_primary,
        index.is_local,
    )
