"""The playground: one HTML page on which small classifiers are attacked in the browser, without a network.

`network.py` writes a Keras model as the page's JavaScript reads it (`network.js`), `collection.py` puts images and
models together, `page.py` makes the file, `small_models.py` trains models where none are given. The attack is in `attack.js`, what is seen
in `page.html`, `style.css` and the other scripts.
"""
