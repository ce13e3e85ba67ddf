"""The annotation page: an annotator labels videos in the browser.

label_file        one annotator's labels of a video on disk
tracks, session   a video that is being labelled: estimates, suggestions, undo
project           all videos of the page
actions           the annotator's actions and their keys
position          what a tab of the browser shows, and the actions there
payload, thin     what the browser draws
page, dialogs, elements, *.js, page.css
                  the page itself
guard, server     access control and the web server
"""
