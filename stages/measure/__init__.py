"""Stage `measure@BACKEND-VIEW`: the server, the client, the schedule and the journal."""
