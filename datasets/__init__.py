"""What is on disk, as tables, images and labels. Nothing here knows a network.

columns      names of columns and classes that several tables share
csv_files    reading CSV files from elsewhere: bounded, and checked before they are parsed
frames       the frame table, one pandas row per frame, and the builder that readers fill it with
afewva       reader of AFEW-VA and of any data set in its layout
own_videos   reader of the user's own labelled videos
people       who is shown in their face tracks: people.csv
affectnet    reader of AffectNet 2017 and AffectNet-8, and its split
splits       training, validation and test set without a common subject
faces        reading an image, face boxes, and the crop that the network sees
transforms   centre crop of evaluation, random augmentation of training
images       face crops of a frame table, their cache, and the torch datasets
pairs        drawing the pairs and batches of training
demo/        renders the demo set: faces whose expression follows valence and arousal
video/       decoding, face detection, tracking and face crops of a video
annotations/ a person's labels of a video: CSV, ELAN and NOVA
"""
