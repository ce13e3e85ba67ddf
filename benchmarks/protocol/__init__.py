"""The parts of benchmarks/paper.py.

steps     runs the scripts, keeps their run folders and finds them again
plan      the steps of the protocol: which script runs with which options
people    which people each part has seen; none of them may be tested
results   the scores of all run folders, as one table
tables    the tables as Markdown and the figure
"""
