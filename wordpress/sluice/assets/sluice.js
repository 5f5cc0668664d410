/* Keeps the jobs screen and the self-test true while somebody looks. Talks to this site only, and puts
   what it hears into pages as text. */
( function () {
	'use strict';

	var settings = window.sluiceSettings;
	var parameters = new URLSearchParams( window.location.search );

	function read( url ) {
		return window.fetch( url, { credentials: 'same-origin', headers: { 'X-WP-Nonce': settings.nonce } } ).then( function ( answer ) {
			if ( ! answer.ok ) {
				throw new Error( String( answer.status ) );
			}
			return answer.json();
		} );
	}

	function say( text ) {
		if ( window.wp && window.wp.a11y ) {
			window.wp.a11y.speak( text, 'polite' );
		}
	}

	/* Calls work every so many seconds while the page is seen; gives up after too many failures. */
	function repeat( seconds, work ) {
		var failures = 0;
		var timer = window.setInterval( function () {
			if ( document.hidden ) {
				return;
			}
			work( function () {
				window.clearInterval( timer );
			} ).then( function () {
				failures = 0;
			} ).catch( function () {
				failures += 1;
				if ( failures >= 10 ) {
					window.clearInterval( timer );
				}
			} );
		}, seconds * 1000 );
	}

	function row( job ) {
		return document.querySelector( '[data-sluice-job="' + window.CSS.escape( job.job_id ) + '"]' );
	}

	/* Whether the job's state is another than the one that is shown. */
	function show( job ) {
		var shown = row( job );
		if ( ! shown ) {
			return false;
		}
		[ 'label', 'error', 'attempts', 'next', 'updated' ].forEach( function ( name ) {
			var cell = shown.querySelector( '[data-sluice="' + name + '"]' );
			if ( cell && cell.textContent !== String( job[ name ] ) ) {
				cell.textContent = String( job[ name ] );
			}
		} );
		if ( shown.dataset.sluiceState === job.state ) {
			return false;
		}
		shown.dataset.sluiceState = job.state;
		shown.querySelector( '[data-sluice="label"]' ).className = 'sluice-state sluice-state-' + job.state;
		return true;
	}

	function refresh() {
		var query = new URLSearchParams( { state: parameters.get( 'state' ) || '', s: parameters.get( 's' ) || '' } );
		var url = settings.jobs + ( settings.jobs.indexOf( '?' ) < 0 ? '?' : '&' ) + query.toString();
		return read( url ).then( function ( answer ) {
			var changed = answer.jobs.filter( show ).length;
			var newer = answer.jobs.some( function ( job ) {
				return ! row( job );
			} );
			var all = 0;
			Object.keys( answer.counts ).forEach( function ( state ) {
				all += answer.counts[ state ];
				count( state, answer.counts[ state ] );
			} );
			count( '', all );
			if ( changed ) {
				say( settings.changed.replace( '%d', String( changed ) ) );
			}
			if ( newer && first() ) {
				document.getElementById( 'sluice-live' ).className = 'notice notice-info sluice-newer';
				document.getElementById( 'sluice-live' ).textContent = settings.more;
			}
		} );
	}

	/* Only the first page can lack newer jobs. */
	function first() {
		return ! parameters.get( 'paged' ) || '1' === parameters.get( 'paged' );
	}

	function count( state, jobs ) {
		var place = document.querySelector( '[data-sluice-count="' + state + '"]' );
		if ( place ) {
			place.textContent = '(' + jobs.toLocaleString() + ')';
		}
	}

	function test( stop ) {
		return read( settings.selfTest ).then( function ( answer ) {
			var place = document.getElementById( 'sluice-self-test' );
			if ( place.dataset.state !== answer.state ) {
				place.dataset.state = answer.state;
				place.textContent = answer.text;
			}
			if ( 'waiting' !== answer.state && 'taken' !== answer.state ) {
				stop();
			}
		} );
	}

	if ( document.getElementById( 'sluice-live' ) ) {
		repeat( 10, refresh );
	}
	var place = document.getElementById( 'sluice-self-test' );
	if ( place && ( 'waiting' === place.dataset.state || 'taken' === place.dataset.state ) ) {
		repeat( 2, test );
	}
}() );
