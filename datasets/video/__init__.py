"""The user's own videos.

reading         a video file or a folder of images, one frame at a time
random_access   any frame of a video by its number
detector        the face detector
centerface      the network of the face detector, run by OpenVINO or OpenCV
shots           finding the cuts between shots
jobs            pairs videos with the files of their labels
tracks          following each face through a video, and choosing which to work on
cached_tracks   face tracks of a video, cached
crops           the face crops of some tracks
image_features  how the face of a track looks: its picture, and image features to compare tracks by
face_images     the faces of a video as image files, cached
"""
