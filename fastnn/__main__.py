from fastnn.config import show_config

show_config()
