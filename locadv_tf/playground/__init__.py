"""The playground: one HTML page on which small classifiers are attacked in the browser, without a network.

`collection.py` puts images and models of a data set together, `network.py` writes a model as the page reads it,
`page.py` makes the file, `small_models.py` trains models where nobody gave any. The rest is the page itself: the
networks' passes in `network.js`, the attack in `attack.js`, the links in `link.js`, and what is seen in `page.html`,
`style.css`, `pictures.js` and `page.js`.
"""
