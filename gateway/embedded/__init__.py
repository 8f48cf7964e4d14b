"""Postgres and Valkey on this machine with no installation but pip.

Servers run as child processes on free loopback ports, behind generated passwords.
"""

from gateway.embedded.folder import FolderInUseError as FolderInUseError
from gateway.embedded.folder import hold as hold
from gateway.embedded.part import Part as Part
from gateway.embedded.part import PartFailedError as PartFailedError
from gateway.embedded.part import free_port as free_port
from gateway.embedded.part import run_tool as run_tool
from gateway.embedded.postgres import Postgres as Postgres
from gateway.embedded.postgres import create_database as create_database
from gateway.embedded.postgres import drop_database as drop_database
from gateway.embedded.postgres import prepare_postgres as prepare_postgres
from gateway.embedded.postgres import start_postgres as start_postgres
from gateway.embedded.valkey import Valkey as Valkey
from gateway.embedded.valkey import prepare_valkey as prepare_valkey
from gateway.embedded.valkey import start_valkey as start_valkey
