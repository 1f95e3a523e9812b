"""DICOMweb (PS3.18 chapters 8 and 10): the standard's resources, one service a file.

Below ``/dicom-web``, under the URIs, parameters, media types and statuses of the standard.
Nothing here knows MongoDB, files or codecs: services do the work.
"""
