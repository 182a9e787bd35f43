"""`genrm offload`: who needs the judge awake, and sleep and wake by hand, by the ledger that training runs use."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.text import Text

from genrm.errors import OffloadError, SettingsError
from genrm.judge import Judge
from genrm.offload.gateway import open_gateway, open_ledger_store, open_offload
from genrm.offload.lease import Offload
from genrm.offload.ledger import Entry, State
from genrm.settings import Settings
