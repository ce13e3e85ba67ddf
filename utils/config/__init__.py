"""Settings: typed, documented beside their defaults, and read from YAML files and the command line.

`sections` holds the groups of settings, `common` what all scripts share, `mtclar`, `labelling` and `supervised` the
settings of mtclar.py, fsl_mtclar.py and mtclar_sl.py. `yaml_files` and `command_line` read settings, `layers` merges
them. `python -m utils.config config.yaml` prints the YAML file that the project ships.
"""
