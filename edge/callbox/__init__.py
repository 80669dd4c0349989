"""The button and what it starts: journal, lamp, buzzer, the incident, and what the citizen is told.

Imports nothing heavy, waits for nothing, outlives everything else on the box.
"""
