/* Tells the block editor of an update that waits. */
( function () {
	'use strict';

	var waits = window.sluiceWaits;
	window.wp.domReady( function () {
		window.wp.data.dispatch( 'core/notices' ).createWarningNotice( waits.text, {
			id: 'sluice-waits',
			isDismissible: false,
			actions: [ { label: waits.decide, url: waits.url } ]
		} );
	} );
}() );
