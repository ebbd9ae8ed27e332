"""How Django's pages write times, by language."""
