"""The command line ``tn-qnn``: one module a command."""
