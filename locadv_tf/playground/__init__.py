"""The playground: one HTML page on which small classifiers are attacked in the browser, without a network.

`collection.py` puts images and models of a data set together, the kit's own where nobody gave any; `network.py` writes
a model as the page reads it, `page.py` makes the file. The rest is the page itself: the networks' passes in
`network.js`, the attack in `attack.js`, the links in `link.js`; what is asked for and found in `state.js`, how that is
shown in `results.js`, how it is changed in `controls.js` and `painting.js`. `page.js` starts it all. `page.html`,
`style.css` and `pictures.js` say how it looks.
"""
