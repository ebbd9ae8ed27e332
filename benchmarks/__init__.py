"""The benchmark of the data path, beside other systems; `make bench` runs it, `make test` never does."""
