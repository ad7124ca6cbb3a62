"""The published article as data: its tables, and the ledger of its claims with their rules."""

from heavyweight.article.beside import cold_start_beside, latency_beside, throughput_beside
from heavyweight.article.claim import Claim
from heavyweight.article.ledger import Ledger, load_claims
from heavyweight.article.tables import Article, load_article

__all__ = [
    "Article",
    "Claim",
    "Ledger",
    "cold_start_beside",
    "latency_beside",
    "load_article",
    "load_claims",
    "throughput_beside",
]
