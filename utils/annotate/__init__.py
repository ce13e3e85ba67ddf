"""The annotation page: an annotator labels videos in the browser.

guarded_file, label_file, rating_file
                  one annotator's labels and rating of a video on disk
history           undo and redo
people, shared_estimates
                  who is shown in each track, and the labels that tracks of a person share
tracks, session   a video that is being labelled: estimates, suggestions, undo
playback          what the browser plays of a video
archive           the next frame to label in all videos
project           all videos of the page
actions           the annotator's actions and their keys
position          what a tab of the browser shows, and the actions there
payload, thin     what the browser draws
page, people_view, dialogs, elements, *.js, *.css
                  the page itself
video_table       the table of videos
check, check_page frames drawn at random, labelled without their estimates, and the bound of the error
guard, server     access control and the web server
"""
