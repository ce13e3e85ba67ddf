"""Labelling, suggesting and predicting on the user's own videos.

track_embeddings  embeddings of the tracks, cached
face_video        a video as face tracks with embeddings
support           the support-set of each track
people            labels of people who are shown in several tracks
job_runner        runs a processing on several videos
label_video, suggest_video, predict_video
                  the three kinds of processing
outputs, overlay  what is written for a video
"""
