"""Migrations of the store's tables; Alembic runs them when an older store is opened."""

HEAD = "0001"
"""The newest revision. It stands here so that opening a current store need not import Alembic."""
