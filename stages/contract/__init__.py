"""The contract: ``params.yaml`` parsed once into typed, validated, frozen objects.

No other package reads ``params.yaml``. Every error names the key, what was found and what is
allowed.
"""

from stages.backends.declared import FlagValue
from stages.contract.basics import (
    SALT_TOKENS,
    VIEWS,
    Backend,
    View,
)
from stages.contract.measuring import (
    Gate,
    Identity,
    Limits,
    Passes,
    Probes,
    RankingGate,
    Selection,
)
from stages.contract.parse import PARAMS, Contract, load_contract, parse_contract
from stages.contract.serving import Launch, MultiItem, Pair
from stages.contract.subject import (
    DrawnWorkload,
    HubModel,
    PackagedModel,
    PackagedTokenizer,
    SyntheticModel,
    TextWorkload,
    Vocabulary,
    Workload,
    chunk_sizes_of,
    ordinary_ids,
)

__all__ = [
    "PARAMS",
    "SALT_TOKENS",
    "VIEWS",
    "Backend",
    "Contract",
    "DrawnWorkload",
    "FlagValue",
    "Gate",
    "HubModel",
    "Identity",
    "Launch",
    "Limits",
    "MultiItem",
    "PackagedModel",
    "PackagedTokenizer",
    "Pair",
    "Passes",
    "Probes",
    "RankingGate",
    "Selection",
    "SyntheticModel",
    "TextWorkload",
    "View",
    "Vocabulary",
    "Workload",
    "chunk_sizes_of",
    "load_contract",
    "ordinary_ids",
    "parse_contract",
]
