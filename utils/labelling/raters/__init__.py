"""Continuous ratings as evidence.

ratings         the raters, with their ratings of the user's own videos
rating_windows  what the ratings of a clip are compared with, to fit them
rater           fits continuous ratings: the lag of each rater, and the parameters of the ratings
"""
