"""distortion"""
