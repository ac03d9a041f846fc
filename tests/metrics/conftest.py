from tests.browser import page as page
