"""Labelling, suggesting and predicting on the user's own videos.

track_embeddings  embeddings of the tracks, cached
face_video        a video as face tracks with embeddings
support           the support-set of each track
people            labels of people who are shown in several tracks
image_similarity  who may be shown in a track, sorted by image similarity
records, progress what a run keeps of the videos it has finished; how far it is
job_runner        runs a processing on several videos, and continues an interrupted run
label_video, suggest_video, predict_video
                  the three kinds of processing
suggest_archive   suggests frames over all videos of an archive
outputs, overlay  what is written for a video
"""
