"""One module per group of commands; `berth.cli.tree` names them and imports the one that is called."""
