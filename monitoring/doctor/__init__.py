"""What `manage.py doctor` looks at: facts are asked for in one step and judged, without asking anybody, in another.

Each file has the facts of one thing, what asks for them, and what judges them. All of it only reads.
"""
