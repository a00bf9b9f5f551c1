"""Where facts live, one outside system a file; the files of this folder do not import each other."""
