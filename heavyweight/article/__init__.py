"""The published article as data: its tables, and the ledger of its claims with their rules."""

from heavyweight.article.ledger import Claim, Ledger, load_claims
from heavyweight.article.tables import Article, load_article

__all__ = [
    "Article",
    "Claim",
    "Ledger",
    "load_article",
    "load_claims",
]
